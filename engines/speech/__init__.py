"""Speech: text into sound."""
