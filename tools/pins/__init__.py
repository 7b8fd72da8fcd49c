"""``make pins``: writes down what Kith fetches, with its hash. Run it after a change of a version, and look at
the difference before you commit it: every machine is held to these files afterwards."""
