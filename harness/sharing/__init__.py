"""Results that leave a machine: one archive to send, and two folders compared cell by cell."""
