"""What people read: every command of it is run, every file of it is used."""
