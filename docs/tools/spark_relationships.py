"""Reads the relationships of one tenant with Spark and counts the consumers that pairs of providers share.

    spark-submit --packages org.mongodb.spark:mongo-spark-connector_2.13:10.5.0 \
        docs/tools/spark_relationships.py mongodb://127.0.0.1:27017/?replicaSet=rs0 kith default shared.parquet

For jobs beyond some hundred million relationships; below that the intelligence service and `kith learn` need no
cluster. It only reads. Needs pyspark 4 and Java 17.
"""

import sys

from pyspark.sql import SparkSession  # type: ignore[import-not-found,unused-ignore]
from pyspark.sql import functions as f

#: Consumers with more providers say little about each pair, and cost the square of their number.
MOST_PROVIDERS = 300


def main(uri: str, database: str, tenant: str, out: str) -> None:
    spark = SparkSession.builder.appName("kith-relationships").getOrCreate()
    relationships = (
        spark.read.format("mongodb")
        .option("connection.uri", uri)
        .option("database", database)
        .option("collection", "relationships")
        # Filtered by MongoDB, through the index that begins with the tenant.
        .option("aggregation.pipeline", f'[{{"$match": {{"tenant": "{tenant}"}}}}]')
        .schema("consumer_id string, provider_id string")
        .load()
    )
    degrees = relationships.groupBy("consumer_id").count().where(f.col("count") <= MOST_PROVIDERS)
    pairs = relationships.join(degrees, "consumer_id")
    one, other = pairs.alias("one"), pairs.alias("other")
    shared = (
        one.join(other, "consumer_id")
        .where(f.col("one.provider_id") < f.col("other.provider_id"))
        .groupBy(f.col("one.provider_id").alias("provider_id"), f.col("other.provider_id").alias("with"))
        .agg(f.count("*").alias("consumers"))
    )
    shared.write.mode("overwrite").parquet(out)
    spark.stop()


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit("usage: spark_relationships.py MONGO_URI DATABASE TENANT OUTPUT")
    main(*sys.argv[1:])
