"""In: the collections that relations and analytics keep, read as of one moment and never written.
Out: ``GET /v1/export/…`` (CSV, JSON lines, Parquet, Tableau's Hyper), the OData feed ``/odata/v1/``, and
``frame``, which gives pandas or polars the same."""
