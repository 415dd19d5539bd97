"""The JSON API of a workspace: what people and scripts may ask over HTTP, checked at the door, described by OpenAPI.

`tutelage.api.app.create_app(store)` is the whole of it. A handler opens one transaction and calls the functions of
`tutelage.store` and `tutelage.feedback` that the terminal calls too, so the rules are the same on both ways.

Leaves out: pages for a browser.
"""
