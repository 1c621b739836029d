"""Polling: every slot is used once, and a dead device costs its neighbours little."""
