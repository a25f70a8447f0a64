"""Client programs and SDKs, run for real against a relay: `make clients` and `make programs`."""
