"""The client side of Interactive Brokers; the only home of ib_insync."""
