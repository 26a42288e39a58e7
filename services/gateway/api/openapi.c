/* openapi.c - openapi.json as it stands, inside the program. The path is relative to the repository, where the build runs. */
__asm__(".section .rodata\n"
	".global openapi_begin\n"
	"openapi_begin:\n"
	".incbin \"services/gateway/api/openapi.json\"\n"
	".global openapi_end\n"
	"openapi_end:\n"
	".byte 0\n"
	".previous\n");

typedef int not_empty; /* ISO C wants a declaration */
