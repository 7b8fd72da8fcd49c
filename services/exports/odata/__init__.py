"""The OData 4.0 feed: what Excel, Power BI and others read without an export. ``filters``, ``terms``, ``mongo``
and ``metadata`` are pure."""
