"""In: requests to erase, correct and export one consumer; kith.erasures.
Out: kith.consumers (events consumer.erased and consumer.upserted), the state of each erasure and its receipt."""
