"""The process: `daemon` builds every object once and wires it; reloads, listeners, instruments."""
