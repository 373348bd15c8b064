"""Events: the surges known ahead, from calendar files and shipped calendars to numbers on a grid."""
