"""A plugin for Hokusai: acme-summary."""
