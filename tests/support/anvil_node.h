/* anvil_node.h - a real anvil node for one test program, from tests/support/chain/node_modules (WEIR_ANVIL overrides the path). */
#ifndef TESTS_SUPPORT_ANVIL_NODE_H
#define TESTS_SUPPORT_ANVIL_NODE_H

#include <stdbool.h>
#include <sys/types.h>

struct anvil_node {
	int port;
	char url[64], ws_url[64];
	pid_t pid;
};
bool anvil_node_available(void);                    /* false: not installed; the test says so and skips */
void anvil_node_start(struct anvil_node *, int port); /* port 0: a free one; aborts the test program when it cannot */
void anvil_node_stop(struct anvil_node *);          /* kill -9 */

#endif
