{{/* What every template shares. */}}
{{- define "kith.name" -}}
{{- if contains "kith" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-kith" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "kith.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/name: kith
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Of one service: (dict "root" $ "service" $name). */}}
{{- define "kith.selector" -}}
app.kubernetes.io/name: kith
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .service }}
{{- end }}

{{- define "kith.image" -}}
{{- $image := .root.Values.image -}}
{{- $tag := $image.tag | default .root.Chart.AppVersion -}}
{{- if and $image.perService (ne .service "") }}{{ $image.repository }}-{{ .service }}:{{ $tag }}{{ else }}{{ $image.repository }}:{{ $tag }}{{ end }}
{{- end }}

{{- define "kith.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "kith.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "kith.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
# Secrets are files of this group, and of nobody else's.
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "kith.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The settings that say where the servers are and who comes: (dict "root" $ "user" "kith-ingest"). */}}
{{- define "kith.connection" -}}
{{- $values := .root.Values -}}
- { name: KITH_KAFKA, value: {{ required "kafka.bootstrap: the addresses of Kafka's brokers" $values.kafka.bootstrap | quote }} }
- { name: KITH_KAFKA_SECURITY_PROTOCOL, value: {{ $values.kafka.securityProtocol | quote }} }
{{- if hasPrefix "SASL" $values.kafka.securityProtocol }}
- { name: KITH_KAFKA_SASL_MECHANISM, value: {{ $values.kafka.saslMechanism | quote }} }
- { name: KITH_KAFKA_PASSWORD_FILE, value: /run/secrets/own/kafka-password }
{{- end }}
- { name: KITH_MONGO_FILE, value: /run/secrets/own/mongo }
- { name: KITH_DATABASE, value: {{ $values.mongo.database | quote }} }
- { name: KITH_TOPIC_PREFIX, value: {{ $values.topics.prefix | quote }} }
- { name: KITH_GROUP, value: {{ $values.topics.group | quote }} }
- { name: KITH_PARTITIONS, value: {{ $values.topics.partitions | quote }} }
- { name: KITH_REPLICATION, value: {{ $values.topics.replication | quote }} }
{{- if $values.secrets.ca }}
- { name: KITH_KAFKA_CA_FILE, value: /run/secrets/shared/ca.crt }
{{- end }}
{{- end }}

{{/* What a service needs beyond that: (dict "root" $ "service" $name "of" $of). */}}
{{- define "kith.settings" -}}
{{- $values := .root.Values -}}
{{- $name := include "kith.name" .root -}}
- { name: KITH_HOST, value: 0.0.0.0 }
- { name: KITH_{{ upper .service }}_PORT, value: {{ .of.port | quote }} }
{{- if hasPrefix "SASL" $values.kafka.securityProtocol }}
- { name: KITH_KAFKA_USERNAME, value: kith-{{ .service }} }
{{- end }}
{{- if .of.masterKey }}
- { name: KITH_MASTER_KEY_FILE, value: /run/secrets/shared/master.key }
{{- end }}
{{- if $values.secrets.auditKey }}
- { name: KITH_AUDIT_KEY_FILE, value: /run/secrets/shared/audit.key }
{{- end }}
{{- with .of.needs }}
- { name: KITH_{{ upper . }}_FILE, value: /run/secrets/own/{{ . }} }
{{- end }}
{{- if eq .service "exports" }}
- { name: KITH_EXPORTS_ANALYTICS, value: "{{ $name }}-analytics:{{ $values.services.analytics.port }}" }
- { name: KITH_EXPORTS_RELATIONS, value: "{{ $name }}-relations:{{ $values.services.relations.port }}" }
{{- with $values.urls.exports }}
- { name: KITH_EXPORTS_URL, value: {{ . | quote }} }
{{- end }}
{{- end }}
{{- if and (has .service (list "apps" "webhooks")) $values.urls.apps }}
- { name: KITH_APPS_URL, value: {{ $values.urls.apps | quote }} }
{{- end }}
{{- if and (has .service (list "relations" "intelligence" "webhooks")) $values.urls.dashboard }}
- { name: KITH_DASHBOARD_ORIGINS, value: {{ list $values.urls.dashboard | toJson | quote }} }
{{- end }}
{{- /* The APIs that the dashboard and the developer portal ask from a browser. */}}
{{- $asked := dict "analytics" (list "relations" "intelligence" "webhooks") "apps" (list "relations" "webhooks") }}
{{- range $api := index $asked .service }}
{{- with index $values.urls $api }}
- { name: KITH_{{ upper $api }}_URL, value: {{ . | quote }} }
{{- end }}
{{- end }}
{{- range $key, $value := merge (dict) (.of.settings | default dict) $values.settings }}
- { name: {{ $key }}, value: {{ $value | toString | quote }} }
{{- end }}
{{- end }}

{{/* The volumes of a pod's secrets, and /tmp: (dict "root" $ "own" "ingest" "shared" (list "master.key") "tmp" "256Mi"). */}}
{{- define "kith.volumes" -}}
- name: tmp
  emptyDir: { medium: Memory, sizeLimit: {{ .tmp | default .root.Values.tmpSize }} }
- name: own
  secret: { secretName: {{ .root.Values.secrets.prefix }}-{{ .own }}, defaultMode: 0440 }
{{- if .shared }}
- name: shared
  secret:
    secretName: {{ .root.Values.secrets.prefix }}-shared
    defaultMode: 0440
    # Nothing that this process has no use for.
    items:
      {{- range .shared }}
      - { key: {{ . }}, path: {{ . }} }
      {{- end }}
{{- end }}
{{- end }}

{{- define "kith.mounts" -}}
- { name: tmp, mountPath: /tmp }
- { name: own, mountPath: /run/secrets/own, readOnly: true }
{{- if .shared }}
- { name: shared, mountPath: /run/secrets/shared, readOnly: true }
{{- end }}
{{- end }}

{{- define "kith.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}
