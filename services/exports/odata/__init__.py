"""The OData 4.0 feed for Excel, Power BI and other clients, which read it without an export. ``filters``,
``terms``, ``mongo`` and ``metadata`` are pure."""
