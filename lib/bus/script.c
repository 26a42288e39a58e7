/* script.c - weir.lua as it stands, inside the program. The path is relative to the repository, where the build runs. */
#include "bus/internal.h"

__asm__(".section .rodata\n"
	".global bus_script_begin\n"
	"bus_script_begin:\n"
	".incbin \"lib/bus/weir.lua\"\n"
	".global bus_script_end\n"
	"bus_script_end:\n"
	".byte 0\n"
	".previous\n");
