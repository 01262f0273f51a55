"""The execution pipeline and its stages.

Internal: use ``Executor``. In reading order: ``services`` (makes the parts of an executor and holds them together),
``state`` (one execution), ``call_plan`` (what is the same for all executions of a signature with a model), ``pipeline``
(the stages in order), then the parts of stages: ``model_resolver``, ``validation``, ``testing_mode``, ``attempts``,
``call_limits``, ``budget`` and ``rate_limits``, ``observers``, ``event_builders``, ``feedback_stage`` and
``stats``. ``options`` reads the options of a call, ``registration`` takes signatures of the host's own. What runs on
threads and event loops is in ``hokusai_core.runtime``.
"""
