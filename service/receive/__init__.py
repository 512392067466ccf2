"""C-STORE in, a spool file and a row out, then 0x0000: nothing else happens here."""
