"""What a test of faults does, in a line for docs/why/faults.md."""

TITLES = {
    ("checker", "without_versions_disorder_shows"): "*The checker:* without versions it goes red",
    ("checker", "without_numbers_a_change_published_twice_counts_twice"): (
        "*The checker:* without the changes' numbers it goes red"
    ),
    (
        "checker",
        "without_the_outbox_drain_changes_are_lost",
    ): "*The checker:* without the outbox drain it goes red",
    ("checker", "without_compare_and_set_and_guards_a_zombie_overwrites_aggregates"): (
        "*The checker:* without compare-and-set and guards it goes red"
    ),
    ("commit_answers", "each_fail_point_in_turn"): (
        "Commits refused, unanswered or of unknown result; write conflicts; failing reads and claims"
    ),
    ("commit_answers", "answers_of_commits_are_lost"): "The answers to commits are lost, both services",
    ("rabbitmq", "a_bridge_and_its_broker_are_killed"): (
        "`kill -9` of a bridge to RabbitMQ at two steps, and of RabbitMQ; poison in the queue"
    ),
    ("rabbitmq", "kafka_is_killed_while_a_bridge_works"): "`kill -9` of Kafka while RabbitMQ has messages for it",
    ("rabbitmq", "a_bridge_killed_at"): "`kill -9` of a bridge to RabbitMQ at each step",
    ("sinks", "rows_are_the_documents_after_kills_a_zombie_and_an_outage"): (
        "`kill -9` of a sink at each step, one that sleeps and writes late, its database away: every row compared"
    ),
    ("end", "all_are_asked_to_stop_and_others_go_on"): "SIGTERM of all workers; others go on",
    (
        "end",
        "asked_to_stop_while_a_server_is_away",
    ): "A server is killed, half of the workers get SIGTERM, it comes back",
    ("intelligence", "the_same_answers_after_a_kill_and_after_a_loss"): (
        "`kill -9` of intelligence within its scan; two side by side answer alike; Kafka loses changes"
    ),
    ("kill_at_steps", "four_killed_at_different_steps"): "`kill -9` at four steps of a slice",
    ("kill_at_steps", "killed_while_it_publishes_what_the_last_owner_left"): (
        "`kill -9` while draining a dead worker's outbox"
    ),
    ("membership", "workers_join_and_leave"): "Workers join and leave; nobody stalls for a session",
    ("membership", "a_crash_stops_only_what_crashed"): (
        "`kill -9` and an instant restart: only the dead worker's partitions wait for its session"
    ),
    ("poison", "poison"): "Messages that are no events: one dead letter each",
    ("poison", "duplicates_within_a_batch_across_batches_and_out_of_order"): (
        "Duplicates in a batch, across batches and out of order"
    ),
    ("poison", "mixed_versions_of_an_event_type"): "Old and new versions of an event type, mixed",
    ("restore", "a_backup_is_restored_and_the_services_go_on"): (
        "Backup under load, MongoDB loses everything, restore: replayed exactly, erased stay erased"
    ),
    ("replay", "replayed_twice_after_newer_events"): "Dead letters replayed twice, after newer events",
    ("telling", "an_erasure_is_told_once_wherever_whoever_is_killed"): (
        "`kill -9` at three steps by which applications are told of an erasure: once each, under one id"
    ),
    ("telling", "a_consent_is_known_to_the_end_after_a_kill"): (
        "`kill -9` around the commit of a consent, and of an erasure: whoever was ever agreed to is told"
    ),
    ("telling", "an_erasure_is_told_once_after_a_kill"): (
        "`kill -9` at each step by which applications are told of an erasure"
    ),
    ("three", "one_of_three_is_lost_or_cut_off"): (
        "Three of each: primary and leader killed, then cut off; a primary dies ahead of all others"
    ),
    ("partition", "the_old_primary_acknowledges_nothing_and_nothing_is_lost"): (
        "The network between a primary and the other members is cut; clients still reach it"
    ),
    ("starved", "one_slice_takes_too_long"): "A slice slower than `max_poll_interval`",
    (
        "topic_recreated",
        "workers_stop_loudly",
    ): "Topics deleted and made anew: workers stop, nothing is read again",
    ("zombie", "three_stopped_at_different_steps"): "SIGSTOP past the session at three steps, then SIGCONT",
}
