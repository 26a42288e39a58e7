/* user.c - operators who sign in by name: list, make, a new password or role, disable. Passwords come from files, so that they stand in no list of processes. */
#include "weirctl.h"

#include <stdio.h>
#include <string.h>

#define PASSWORD_MAX 257 /* with the line's end */

int user_list(struct settings *s, int argc, char **argv, struct error *err)
{
	static const struct column columns[] = { { "NAME", "name" },	  { "ROLE", "role" },	      { "CREATED", "created_at" },
						 { "BY", "created_by" }, { "SIGNED IN", "signed_in_at" }, { "DISABLED", "disabled_at" } };
	(void)argc;
	(void)argv;
	struct buf path = BUF_INIT(8192);
	buf_add_str(&path, "/admin/v1/users");
	add_query(&path, "cursor", s->cursor);
	add_query(&path, "limit", s->limit);
	int r = LIST(s, true, &path, columns, err);
	buf_free(&path);
	return r;
}

static int add_password(yyjson_mut_doc *body, const char *file, struct error *err)
{
	struct buf text = BUF_INIT(PASSWORD_MAX);
	int r = read_file(file, PASSWORD_MAX, &text, err);
	char *password = r ? NULL : xstrdup(buf_str(&text));
	if (password) {
		password[strcspn(password, "\r\n")] = '\0';
		yyjson_mut_obj_add_strcpy(body, yyjson_mut_doc_get_root(body), "password", password);
	}
	free(password);
	buf_free(&text);
	return r;
}

static int change(struct settings *s, const char *name, const char *what, yyjson_mut_doc *body, struct error *err)
{
	struct buf path = BUF_INIT(8192);
	buf_add_str(&path, "/admin/v1/users");
	if (name) {
		buf_add_str(&path, "/");
		add_encoded(&path, name);
		buf_add_str(&path, what);
	}
	int r = answer_facts(s, ask(s, true, buf_str(&path), body, err), err);
	buf_free(&path);
	return r;
}

int user_make(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	yyjson_mut_doc *body = new_body();
	add_text(body, "name", argv[0]);
	add_text(body, "role", argv[1]);
	int r = add_password(body, argv[2], err);
	r = r ? r : change(s, NULL, "", body, err);
	yyjson_mut_doc_free(body);
	return r;
}

int user_password(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	yyjson_mut_doc *body = new_body();
	int r = add_password(body, argv[1], err);
	r = r ? r : change(s, argv[0], "/password", body, err);
	yyjson_mut_doc_free(body);
	return r;
}

int user_role(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	yyjson_mut_doc *body = new_body();
	add_text(body, "role", argv[1]);
	int r = change(s, argv[0], "/role", body, err);
	yyjson_mut_doc_free(body);
	return r;
}

int user_disable(struct settings *s, int argc, char **argv, struct error *err)
{
	(void)argc;
	if (!s->why)
		return error_set(err, WEIR_USAGE, "say --why: it goes into the audit record");
	yyjson_mut_doc *body = new_body();
	add_text(body, "why", s->why);
	int r = change(s, argv[0], "/disable", body, err);
	yyjson_mut_doc_free(body);
	return r;
}
