"""The execution path and what it needs, stage by stage.

``executor.py``, one folder up, makes an executor of these. In reading order: ``run`` (the state of one execution),
``plan`` (what is the same for all executions of a signature and a model), ``path`` (the stages), ``operations`` (what
the path waits for, on a thread and on an event loop); then the stages' own parts: ``models``, ``checks``,
``cache_stage``, ``flights``, ``gate`` with ``budget`` and ``limits``, ``retry``, ``deadline``, ``threads``,
``observers``, ``events``, ``stats``, ``rehearsal``.
"""
