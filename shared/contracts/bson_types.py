"""Types of fields in the validators of stored documents, as JSON Schema of MongoDB. Pure."""

from typing import Any

STRING: dict[str, Any] = {"bsonType": "string"}
DATE: dict[str, Any] = {"bsonType": "date"}
WHOLE: dict[str, Any] = {"bsonType": ["int", "long"]}
