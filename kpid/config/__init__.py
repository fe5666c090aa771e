"""YAML to a frozen, validated configuration."""
