"""The built-in gateway: a TWS server of our own that shares no code with the client side."""
