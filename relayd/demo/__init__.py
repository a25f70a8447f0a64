"""The embedded fake provider: four wire formats over real sockets, and model names that misbehave.

`provider.DemoProvider` is the server. What it answers is decided without I/O: `reply` routes a
request, `chat` `responses` `messages` `gemini` word it, `misbehave` spoils it as the model's name
asks (`names` has the table), `script` frames it for the wire, and `playback` plays it.

What is no conversation is a `task`: `pictures`, `audio`, `scores`, `followups` of stored responses,
`storage` of files and batches. `form` reads multipart forms; `shelf` is all that is ever kept.
"""
