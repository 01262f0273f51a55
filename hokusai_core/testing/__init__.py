"""Tools for tests of plugins and hosts: language models that cost nothing, and conformance suites.

Nothing is imported here, because the language models bring DSPy along; see the modules.
"""
