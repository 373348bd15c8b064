"""The job that retrains: gate the data, train, judge, register, publish, promote; safe to kill anywhere."""
