"""Archives: a million clips scored with Ray Data, each exactly once. Needs the extra ``archive``.

``storage`` (a folder on disk or in an object store) <- ``plan`` (what is to be scored, divided
into shards), ``attempts`` (which clip killed a worker) <- ``scoring`` (a shard -> one Parquet file;
without Ray) <- ``runner`` (Ray Data: the shards that are left, on all machines).
"""
