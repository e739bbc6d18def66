"""Live five-second bars: streams, their liveness, what is missing, the recorder, and one object over all of them."""
