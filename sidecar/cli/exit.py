"""What the exit status of a command means; 78 is EX_CONFIG of sysexits.h."""

OK = 0
FOUND = 1
USAGE = 2
BAD_CONFIGURATION = 78
