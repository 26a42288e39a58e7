/* openapi.c - openapi.json and asyncapi.json as they stand, inside the program. The paths are relative to the repository, where the build runs. */
#define DOCUMENT(name)                                   \
	__asm__(".section .rodata\n"                     \
		".global " #name "_begin\n"              \
		#name "_begin:\n"                        \
		".incbin \"services/gateway/api/" #name ".json\"\n" \
		".global " #name "_end\n"                \
		#name "_end:\n"                          \
		".byte 0\n"                              \
		".previous\n")

DOCUMENT(openapi);
DOCUMENT(asyncapi);

typedef int not_empty; /* ISO C wants a declaration */
