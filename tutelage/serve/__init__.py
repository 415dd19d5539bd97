"""Models that answer while a server runs: a process for each, started when somebody asks it, ended when nobody does.

`pool` keeps the processes (`worker` is what they run), `names` says which models may be asked, and `verdicts` writes
down what people say about answers. Over HTTP this is offered by `tutelage.api.chat` and `tutelage.api.openai`.
"""
