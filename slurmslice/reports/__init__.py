"""What is told of a run. Pure: a run in, text or plain records out; nothing here prints."""
