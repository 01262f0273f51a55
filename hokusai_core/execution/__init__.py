"""The execution pipeline and its stages.

Internal: use ``Executor``. In reading order: ``state`` (one execution), ``call_plan`` (what is the same for
all executions of a signature with a model), ``pipeline`` (the stages in order), then the stages' own parts:
``model_resolver``, ``validation``, ``testing_mode``, ``attempts`` with ``retry``, ``call_limits``, ``budget`` and
``rate_limits``, ``observers``, ``event_builders``, ``feedback_stage`` and ``stats``. Options of a call are read by
``options``; ``parts`` makes caches and trackers. What runs on threads and event loops is in ``hokusai_core.runtime``.
"""
