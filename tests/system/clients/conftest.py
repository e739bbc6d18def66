"""The scripts here run in the environments of other client libraries; pytest must not import them."""

collect_ignore_glob = ["*.py"]
