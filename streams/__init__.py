"""Stream processing: the Faust applications, their topics and data model, and the runtime below them."""
