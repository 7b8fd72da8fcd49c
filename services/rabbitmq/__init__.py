"""RabbitMQ in and out.

In: messages of quorum queues get the door's verdict, and go into Kafka before they are acknowledged. Out: every
change of ``kith.*-changes`` goes to a topic exchange, confirmed before the position moves.
"""
