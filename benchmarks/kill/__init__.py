"""The kill test: relayd is killed under load again and again, and its books must stay right."""
