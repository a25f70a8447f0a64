"""YAML to frozen records, all problems at once; `config` is the whole, each other a section."""
