"""CHECKPOINT, RDLV, DETA and the parameters of DSN once more, in Python.

A server (`second.server`, a subclass of aiosmtpd's) and a client (`second.client`, on smtplib)
that were written from the texts alone, to talk to each other and to the examples of this crate:
what two readings of RFC 1845 and the drafts disagree about shows here. They share no code, except
with Python's library.

It is for tests: any octet of a dialogue can be the last one, a decision is made when the test
says so, and every point where a crash hurts can be told to be one.
"""
