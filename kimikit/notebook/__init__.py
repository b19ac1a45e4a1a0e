"""Show in a notebook what calls do while they run, and let a person act there.

Enter at ``stream_view.answer_view`` for one answer, ``race_view.race`` for several,
``trace_view.trace_view`` for a run with tools, ``playground.Playground`` for the app
and ``magics.register`` for ``%%kimi``. All of them draw through ``screen``; questions
to a person are asked by ``approval`` and ``question``.
"""
