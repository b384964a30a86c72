"""Backups of a home: made while it works, checked before they count, and brought back.

layout     what lies in a backup's folder, and opening one
folders    the folder that backups go to
making     a backup is made
carrying   the home's files come into it
thinning   old backups go
checking   every byte of a backup, its chain, its notebooks
planning   what a restore would do
restoring  a backup becomes the home's ledger and archive again
placing    files copied so that they are there whole or not at all
"""
