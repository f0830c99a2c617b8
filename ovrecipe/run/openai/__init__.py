"""OpenAI's interface: what a request means to an engine, and how an answer is written down.

`requests` reads what is asked, `tools` what functions a model may call, `answers` writes. Nothing
here listens on a port: `ovrecipe batch` answers files of such requests.
"""
