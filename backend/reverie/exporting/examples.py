"""An export for the API's description."""

USER = "nora"

LINES = """\
{"record":"export","format":1,"user_id":"nora","at":"2026-08-06T07:02:11.004211Z","vectors":false}
{"record":"user","inner_id":"3f0c5a4e-51c7-5f7e-9f43-0d6a3b0f8a11","user_id":"nora","kind":"person","traces":1,"words":9}
{"record":"trace","trace_id":"019ab5c2-7e1d-7c3a-9b7e-2f6d1c0a8e44","external_id":"chat-1841","content":"Booked!"}
{"record":"end","counts":{"user":1,"trace":1},"unreadable":0}
"""
