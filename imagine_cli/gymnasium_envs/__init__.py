"""A world model as a Gymnasium env: one episode at a time, or many in one batch."""
