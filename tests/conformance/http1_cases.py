"""HTTP/1.1 as bytes, with the answer that RFC 9112 and RFC 9110 allow and that weir gives. One row per case.

Case: name, section of RFC 9112 ("9110 x": of RFC 9110), what the RFC demands there, the bytes, the statuses that come back in order.
OK stands for a request that got through to the routes (the path is unknown there, so it is 404 path_unknown). Where the RFC leaves a choice
the stricter one is expected. After a refusal the connection ends, so nothing behind it is ever read as a request.
"""
import collections

Case = collections.namedtuple("Case", "name section demand data expected")
OK = "ok"
HOST = b"Host: a\r\n"
GET = b"GET /x HTTP/1.1\r\n"
POST = b"POST /x HTTP/1.1\r\n" + HOST
END = b"\r\n"
NEXT = GET + HOST + END # a request that must be seen, or must not
CASES = []


def case(name, section, demand, data, *expected):
    CASES.append(Case(name, section, demand, data, expected))


def rows(name, section, demand, items, make, *expected):
    for item in items:
        case(f"{name} {item!r}", section, demand, make(item), *expected)


def tokens(text):
    return [character.encode("latin-1") for character in text]


TCHAR = "!#$%&'*+-.^_`|~09azAZ"
DELIMITERS = "\"(),/;<=>?@[\\]{}"
CONTROLS = [bytes([c]) for c in range(0x20) if c not in (9, 10, 13)] + [b"\x7f"]

# ---- messages and lines: 2.2 ---------------------------------------------------------------------------------------------------------------
case("plain", "2.1", "a request is served", GET + HOST + END, OK)
case("two in a row", "9.3.2", "pipelined requests are answered in order", NEXT + NEXT, OK, OK)
case("twelve in a row", "9.3.2", "pipelined requests are answered in order", NEXT * 12, *[OK] * 12)
case("an empty line first", "2.2", "at least one empty line before the request line should be ignored", END + NEXT, OK)
case("two empty lines first", "2.2", "more than one need not be", END * 2 + NEXT, 400)
case("an empty line between", "2.2", "the same behind a request", NEXT + END + NEXT, OK, OK)
case("line feeds alone", "2.2", "a lone LF may be taken for a line's end, which others may not do: refused", b"GET /x HTTP/1.1\nHost: a\n\n", 400)
case("line feed behind the request line", "2.2", "the same", b"GET /x HTTP/1.1\n" + HOST + END, 400)
case("line feed behind a field", "2.2", "the same", GET + b"Host: a\n\r\n", 400)
case("line feed at the end", "2.2", "the same", GET + HOST + b"\n", 400)
case("line feed first", "2.2", "the same", b"\n" + NEXT, 400)
case("carriage return in the request line", "2.2", "a bare CR is invalid", b"GET /x\r HTTP/1.1\r\n" + HOST + END, 400)
case("carriage return in a value", "2.2", "a bare CR is invalid", GET + HOST + b"X: a\rb\r\n\r\n", 400)
case("carriage return hides a field", "2.2", "a bare CR is invalid", GET + HOST + b"X: a\rContent-Length: 5\r\n\r\nhello", 400)
case("two carriage returns", "2.2", "a bare CR is invalid", GET + b"Host: a\r\r\n\r\n", 400)
case("carriage return in a name", "2.2", "a bare CR is invalid", GET + HOST + b"X\r: a\r\n\r\n", 400)
case("carriage return at the end", "2.2", "a bare CR is invalid", GET + HOST + b"\r\r\n", 400)
case("white space before the first field", "2.2", "such lines must not be read as fields", GET + b" Host: a\r\n\r\n", 400)
case("tab before the first field", "2.2", "such lines must not be read as fields", GET + b"\tX: y\r\n" + HOST + END, 400)
case("nothing", "8", "an incomplete request is no request", b"")
case("half a request line", "8", "an incomplete request is no request", b"GET /x HT")
case("half a head", "8", "an incomplete request is no request", GET + HOST)
case("half a line's end", "8", "an incomplete request is no request", GET + HOST + b"\r")
case("a TLS hello", "3", "what is no request line is refused", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400)
case("an HTTP/2 preface", "3", "another major version is refused", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505)
case("an answer", "3", "what is no request line is refused", b"HTTP/1.1 200 OK\r\n\r\n", 400)

# ---- the request line: 3 -------------------------------------------------------------------------------------------------------------------
rows("version", "2.3", "HTTP-name is case-sensitive, the version is two digits",
     [b"http/1.1", b"HTTP/1", b"HTTP/1.", b"HTTP/.1", b"HTTP/11", b"HTTP/1.10", b"HTTP/01.1", b"HTTP 1.1", b"HTTP/1,1", b"HTTP/1.1x", b"HTTP/a.b", b"XTTP/1.1",
      b"HTTP/-1.1", b"HTTP/1.x", b"HTTPS/1.1", b"HTTP//1.1", b"/1.1"], lambda v: b"GET /x " + v + b"\r\n" + HOST + END, 400)
rows("major version", "9110 2.5", "another major version is not served", [b"0.9", b"0.0", b"2.0", b"3.0", b"9.9"],
     lambda v: b"GET /x HTTP/" + v + b"\r\n" + HOST + END, 505)
rows("higher minor version", "9110 2.5", "a higher minor version is served as the highest known", [b"1.2", b"1.9"], lambda v: b"GET /x HTTP/" + v + b"\r\n" + HOST + END, OK)
case("HTTP/1.0", "2.3", "the lower minor version is served", b"GET /x HTTP/1.0\r\n\r\n", OK)
case("HTTP/0.9", "2.3", "no version is no request line", b"GET /x\r\n\r\n", 400)
case("method alone", "3", "three parts", b"GET\r\n\r\n", 400)
case("two spaces before the target", "3", "one space; white space may be skipped, which others may not do: refused", b"GET  /x HTTP/1.1\r\n" + HOST + END, 400)
case("two spaces before the version", "3", "one space", b"GET /x  HTTP/1.1\r\n" + HOST + END, 400)
case("tab before the target", "3", "one space", b"GET\t/x HTTP/1.1\r\n" + HOST + END, 400)
case("tab before the version", "3", "one space", b"GET /x\tHTTP/1.1\r\n" + HOST + END, 400)
case("space behind the version", "3", "one space", b"GET /x HTTP/1.1 \r\n" + HOST + END, 400)
case("space first", "3", "one space", b" GET /x HTTP/1.1\r\n" + HOST + END, 400)
case("form feed between", "3", "one space", b"GET\x0c/x HTTP/1.1\r\n" + HOST + END, 400)
case("four parts", "3", "three parts", b"GET /x y HTTP/1.1\r\n" + HOST + END, 400)
case("a full URL with spaces", "3.2", "no white space in a target", b"GET /x?a b HTTP/1.1\r\n" + HOST + END, 400)
rows("method", "3.1", "a token that is not known is not implemented", tokens(TCHAR), lambda c: b"G" + c + b"T /x HTTP/1.1\r\n" + HOST + END, 501)
rows("method", "3.1", "methods are tokens", tokens(DELIMITERS), lambda c: b"G" + c + b"T /x HTTP/1.1\r\n" + HOST + END, 400)
rows("method", "3.1", "methods are case-sensitive", [b"get", b"Get", b"gET"], lambda m: m + b" /x HTTP/1.1\r\n" + HOST + END, 501)
rows("method", "3.1", "what is not known is not implemented", [b"TRACE", b"CONNECT", b"BREW", b"PRI", b"PROPFIND", b"X" * 300],
     lambda m: m + b" /x HTTP/1.1\r\n" + HOST + END, 501)
rows("method", "9110 9.1", "known ones get through to the routes", [b"HEAD", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"],
     lambda m: m + b" /x HTTP/1.1\r\n" + HOST + END, OK)
rows("control in the request line", "3", "no control characters", [b"\x00", b"\x01", b"\x0b", b"\x1f", b"\x7f"], lambda c: b"GET /x" + c + b" HTTP/1.1\r\n" + HOST + END, 400)
rows("target", "3.2", "origin-form", [b"/", b"/x?a=b", b"/x%20y", b"/x;y", b"/x:y@z", b"/x!$&'()*+,=", b"/~x", b"/x?a=%2F", b"/%e2%82%ac"],
     lambda t: b"GET " + t + b" HTTP/1.1\r\n" + HOST + END, OK)
rows("target", "3.2", "not the characters of a URI; two readers could see two paths",
     [b"x", b"*", b"/x#y", b"/x\\y", b"/x\"", b"/x<", b"/x>", b"/x^", b"/x`", b"/x{", b"/x|", b"/x}", b"/\xc3\xa4", b"/x%", b"/x%2", b"/x%zz", b"/x%00", b"/x%0a", b"/x%7f", b"/%ff",
      b"//x", b"/x//y", b"/../x", b"/x/..", b"/x/./y", b"/%2e%2e/x", b"/x?a", b"/x?a=1&a=2", b"?x", b"a:443"], lambda t: b"GET " + t + b" HTTP/1.1\r\n" + HOST + END, 400)
rows("absolute-form", "3.2.2", "a server must accept it", [b"http://a/x", b"HTTP://A/x", b"https://a:443/x?b=c", b"http://a", b"http://[::1]:80/x", b"http://b/x"],
     lambda t: b"GET " + t + b" HTTP/1.1\r\n" + HOST + END, OK)
rows("absolute-form", "3.2.2", "it names a host", [b"http:///x", b"http://u@a/x", b"http://a b/x", b"http:/x", b"ftp://a/x", b"http://a:x/", b"http://a,b/x"],
     lambda t: b"GET " + t + b" HTTP/1.1\r\n" + HOST + END, 400)
case("absolute-form without Host", "3.2", "Host must be there all the same", b"GET http://a/x HTTP/1.1\r\n\r\n", 400)
case("asterisk-form", "3.2.4", "OPTIONS may ask about the server", b"OPTIONS * HTTP/1.1\r\n" + HOST + END, 204)
case("asterisk-form goes on", "3.2.4", "the connection goes on behind it", b"OPTIONS * HTTP/1.1\r\n" + HOST + END + NEXT, 204, OK)
case("target of 8 KiB", "3", "long ones should be taken", b"GET /" + b"a" * 8000 + b" HTTP/1.1\r\n" + HOST + END, OK)
case("target too long", "3", "414", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + END, 414)
case("target without end", "3", "414", b"GET /" + b"a" * 40000, 414)

# ---- fields: 5 -----------------------------------------------------------------------------------------------------------------------------
rows("name", "9110 5.1", "names are tokens", tokens(TCHAR), lambda c: GET + HOST + b"X" + c + b": y\r\n\r\n", OK)
rows("name", "9110 5.1", "names are tokens", tokens(DELIMITERS), lambda c: GET + HOST + b"X" + c + b": y\r\n\r\n", 400)
rows("control in a name", "9110 5.1", "names are tokens", CONTROLS, lambda c: GET + HOST + b"X" + c + b"Y: z\r\n\r\n", 400)
rows("control in a value", "9110 5.5", "CR, LF, NUL must be refused or replaced, others are invalid, too", CONTROLS, lambda c: GET + HOST + b"X: a" + c + b"b\r\n\r\n", 400)
rows("byte in a name", "9110 5.1", "names are ASCII", [b"\x80", b"\xc3\xa4", b"\xff"], lambda c: GET + HOST + b"X" + c + b": z\r\n\r\n", 400)
rows("byte in a value", "9110 5.5", "obs-text is opaque", [b"\x80", b"\xc3\xa4", b"\xff"], lambda c: GET + HOST + b"X: " + c + b"\r\n\r\n", OK)
rows("value", "5.1", "white space around a value is not of it", [b"", b" ", b"\t", b" y", b"y ", b"\t y\t ", b"a  b", b"a\tb", b":", b"a:b", b"\"a, b\"", b"(c)"],
     lambda v: GET + HOST + b"X:" + v + b"\r\n\r\n", OK)
case("space before the colon", "5.1", "must be refused with 400", GET + b"Host : a\r\n\r\n", 400)
case("tab before the colon", "5.1", "must be refused with 400", GET + HOST + b"X\t: y\r\n\r\n", 400)
case("space before the colon of Content-Length", "5.1", "must be refused with 400", POST + b"Content-Length : 5\r\n\r\nhello", 400)
case("space before the colon of Transfer-Encoding", "5.1", "must be refused with 400", POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400)
case("no colon", "5", "field lines have a colon", GET + HOST + b"X\r\n\r\n", 400)
case("no name", "5", "field lines have a name", GET + HOST + b": y\r\n\r\n", 400)
case("a request as a field", "5", "field lines have a token before the colon", GET + HOST + b"GET /y HTTP/1.1\r\n\r\n", 400)
case("folded", "5.2", "must be refused or unfolded", GET + HOST + b"X: a\r\n b\r\n\r\n", 400)
case("folded with a tab", "5.2", "must be refused or unfolded", GET + HOST + b"X: a\r\n\tb\r\n\r\n", 400)
case("folded Host", "5.2", "must be refused or unfolded", GET + b"Host:\r\n a\r\n\r\n", 400)
case("folded Transfer-Encoding", "5.2", "must be refused or unfolded", POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400)
case("folded white space", "5.2", "must be refused or unfolded", GET + HOST + b" \r\n\r\n", 400)
case("names in any case", "9110 5.1", "names are case-insensitive", GET + b"hOsT: a\r\nCONTENT-length: 0\r\n\r\n", OK)
case("sixty fields", "5.4", "many are taken", GET + HOST + b"X: y\r\n" * 60 + END, OK)
case("two thousand fields", "5.4", "too many are refused with 4xx", GET + HOST + b"X: y\r\n" * 2000 + END, 431)
case("sixty-five fields", "5.4", "too many are refused with 4xx", GET + HOST + b"X: y\r\n" * 64 + END, 431)
case("a value of 8 KiB", "5.4", "long ones are taken", GET + HOST + b"X: " + b"y" * 8000 + b"\r\n\r\n", OK)
case("a value of 64 KiB", "5.4", "too long ones are refused with 4xx", GET + HOST + b"X: " + b"y" * 65536 + b"\r\n\r\n", 431)
case("a name of 20 KiB", "5.4", "too long ones are refused with 4xx", GET + HOST + b"X" * 20000 + b": y\r\n\r\n", 431)
case("a head without end", "5.4", "too long ones are refused with 4xx", GET + HOST + b"X: y\r\n" * 20000, 431)
rows("said twice", "9110 5.3", "what is no list must not be there twice", [b"Authorization", b"Content-Type", b"Origin", b"X-Api-Key", b"Idempotency-Key"],
     lambda n: GET + HOST + n + b": y\r\n" + n + b": y\r\n\r\n", 400)
rows("list in two lines", "9110 5.3", "lists may be", [b"Accept", b"Accept-Encoding", b"If-None-Match", b"Cookie", b"X"], lambda n: GET + HOST + (n + b": y\r\n") * 2 + END, OK)

# ---- Host: 3.2 -----------------------------------------------------------------------------------------------------------------------------
case("no Host", "3.2", "must be refused with 400", GET + END, 400)
case("two Hosts", "3.2", "must be refused with 400", GET + HOST + b"Host: b\r\n\r\n", 400)
case("the same Host twice", "3.2", "must be refused with 400", GET + HOST + HOST + END, 400)
case("no Host in HTTP/1.0", "3.2", "it need not be there", b"GET /x HTTP/1.0\r\n\r\n", OK)
case("two Hosts in HTTP/1.0", "3.2", "must be refused with 400", b"GET /x HTTP/1.0\r\n" + HOST + HOST + END, 400)
rows("Host", "3.2", "a host", [b"a.example", b"a:80", b"127.0.0.1:8080", b"[::1]", b"[::1]:80", b"[::ffff:1.2.3.4]", b"a_b", b"A-b.C", b"a:", b"xn--a"], lambda h: GET + b"Host: " + h + b"\r\n\r\n", OK)
rows("Host", "3.2", "an invalid value must be refused with 400",
     [b"", b"a b", b"a,b", b"a/b", b"a?b", b"a#b", b"u@a", b"a:b", b"a:80:80", b"[::1", b"::1]", b"[]", b"[a b]", b"http://a", b"a\\b", b"\"a\"", b"<a>", b"a:123456", b":80", b"\xc3\xa4", b"a" * 300, b"[::1]x", b"a;b",
      b"a%00"], lambda h: GET + b"Host: " + h + b"\r\n\r\n", 400)

# ---- Content-Length: 6.2, 6.3 -----------------------------------------------------------------------------------------------------------
case("body", "6.2", "the body ends where it says", POST + b"Content-Length: 5\r\n\r\nhello" + NEXT, OK, OK)
case("body that looks like a request", "6.2", "the body is no request", POST + b"Content-Length: " + str(len(NEXT)).encode() + b"\r\n\r\n" + NEXT, OK)
case("body of GET", "9110 9.3.1", "it has no meaning, but its length counts", GET + HOST + b"Content-Length: " + str(len(NEXT)).encode() + b"\r\n\r\n" + NEXT + NEXT, OK, OK)
case("no body", "6.3", "without a length there is none", POST + END + NEXT, OK, OK)
case("length zero", "6.2", "none", POST + b"Content-Length: 0\r\n\r\n" + NEXT, OK, OK)
case("leading zeros", "6.2", "1*DIGIT", POST + b"Content-Length: 0005\r\n\r\nhello" + NEXT, OK, OK)
case("body is not whole", "8", "an incomplete request is no request", POST + b"Content-Length: 10\r\n\r\nhello")
rows("length", "6.3", "an invalid value must be refused with 400 and the connection closed",
     [b"-1", b"+3", b"3abc", b"abc", b"", b"0x3", b"3.0", b"3,3", b"3, 3", b"3 3", b"3;3", b"\"3\"", b"-0", b"1e1", b"\xd9\xa3", b"3,", b",3", b"0b1", b"1_0"],
     lambda v: POST + b"Content-Length: " + v + b"\r\n\r\nhey" + NEXT, 400)
rows("length too large", "9110 15.5.14", "413, and no overflow", [b"9" * 7, b"4294967296", b"4294967301", b"18446744073709551616", b"18446744073709551621", b"9" * 23, b"9" * 400],
     lambda v: POST + b"Content-Length: " + v + b"\r\n\r\nhello" + NEXT, 413)
case("two lengths", "6.3", "different ones must be refused", POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello" + NEXT, 400)
case("the same length twice", "6.3", "equal ones may be: refused", POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello" + NEXT, 400)
case("length with white space", "5.1", "white space around a value is not of it", POST + b"Content-Length: \t 5 \r\n\r\nhello" + NEXT, OK, OK)

# ---- Transfer-Encoding: 6.1, 6.3, 7 -----------------------------------------------------------------------------------------------------
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
case("chunked", "7.1", "must be understood", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + NEXT, OK, OK)
case("chunked in any case", "7", "names of codings are case-insensitive", POST + b"transfer-encoding: CHUNKED\r\n\r\n0\r\n\r\n" + NEXT, OK, OK)
case("several chunks", "7.1", "must be understood", CHUNKED + b"1\r\nh\r\n2\r\nel\r\nA\r\n0123456789\r\n0\r\n\r\n" + NEXT, OK, OK)
case("no chunk", "7.1", "must be understood", CHUNKED + b"0\r\n\r\n" + NEXT, OK, OK)
case("sizes in any case", "7.1", "HEXDIG", CHUNKED + b"a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n" + NEXT, OK, OK)
case("zeros before a size", "7.1", "1*HEXDIG", CHUNKED + b"0005\r\nhello\r\n000\r\n\r\n" + NEXT, OK, OK)
case("chunk that looks like the end", "7.1", "data is no framing", CHUNKED + b"5\r\n0\r\n\r\n\r\n0\r\n\r\n" + NEXT, OK, OK)
case("chunked GET", "6.3", "the coding counts for every method", GET + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n" % len(NEXT) + NEXT + b"\r\n0\r\n\r\n" + NEXT, OK, OK)
case("both", "6.3", "may be refused: refused", POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT, 400)
case("both, the other way", "6.3", "may be refused: refused", POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + NEXT, 400)
case("both, smuggling", "11.2", "must not be two requests", POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG" + NEXT, 400)
case("both, length zero", "6.3", "may be refused: refused", POST + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT, 400)
rows("coding", "6.1", "chunked must be the last, and once: 400",
     [b"xchunked", b"identity", b"chunked, identity", b"chunked, chunked", b"", b"chunked;x=y", b"chunked x", b"x chunked", b"\"chunked\"", b"chunke", b"chunkedd", b"gzip", b"chunked, gzip", b"'chunked'",
      b"chunked\x80"], lambda v: POST + b"Transfer-Encoding: " + v + b"\r\n\r\n0\r\n\r\n" + NEXT, 400)
rows("unknown coding", "6.1", "501", [b"gzip, chunked", b"deflate, chunked", b"identity, chunked", b"x, y, chunked"], lambda v: POST + b"Transfer-Encoding: " + v + b"\r\n\r\n0\r\n\r\n" + NEXT, 501)
rows("coding", "9110 5.6.1", "empty elements of a list must be ignored", [b"chunked,", b", chunked", b",, chunked ,"], lambda v: POST + b"Transfer-Encoding: " + v + b"\r\n\r\n0\r\n\r\n" + NEXT, OK, OK)
case("two codings in two lines", "6.1", "one list: refused", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + NEXT, 400)
case("chunked twice in two lines", "6.1", "chunked once", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT, 400)
case("chunked in HTTP/1.0", "6.1", "faulty framing: the connection must end", b"POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT, 400)
case("vertical tab before chunked", "5.1", "only space and tab are white space", POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + NEXT, 400)
rows("chunk size", "7.1", "1*HEXDIG",
     [b"", b"-1", b"+5", b"0x5", b"g", b"5g", b" 5", b"5 ", b"5\t", b"5 5", b"5,", b"\xd9\xa5", b"5.0", b"'5'", b"_5", b"5_0"], lambda v: CHUNKED + v + b"\r\nhello\r\n0\r\n\r\n" + NEXT, 400)
rows("chunk size that does not fit", "7.1", "no integer overflow", [b"1" + b"0" * 16, b"f" * 17, b"10000000000000005", b"1" * 100], lambda v: CHUNKED + v + b"\r\nhello\r\n0\r\n\r\n" + NEXT, 400)
rows("chunk size too large", "9110 15.5.14", "413, and no overflow", [b"f" * 16, b"ffffffff", b"100000001", b"7fffffffffffffff", b"8000000000000000", b"200000"],
     lambda v: CHUNKED + v + b"\r\nhello\r\n0\r\n\r\n" + NEXT, 413)
case("chunks too large together", "9110 15.5.14", "413", CHUNKED + (b"40000\r\n" + b"a" * 0x40000 + b"\r\n") * 4 + b"1\r\na\r\n0\r\n\r\n", 413)
case("chunk longer than it says", "7.1", "CRLF behind a chunk", CHUNKED + b"4\r\nhello\r\n0\r\n\r\n" + NEXT, 400)
case("chunk shorter than it says", "7.1", "CRLF behind a chunk", CHUNKED + b"6\r\nhello\r\n0\r\n\r\n" + NEXT, 400)
case("nothing behind a chunk", "7.1", "CRLF behind a chunk", CHUNKED + b"5\r\nhello0\r\n\r\n" + NEXT, 400)
case("line feed behind a size", "2.2", "lines end with CRLF", CHUNKED + b"5\nhello\r\n0\r\n\r\n" + NEXT, 400)
case("line feed behind a chunk", "7.1", "CRLF behind a chunk", CHUNKED + b"5\r\nhello\n0\r\n\r\n" + NEXT, 400)
case("carriage return behind a chunk", "7.1", "CRLF behind a chunk", CHUNKED + b"5\r\nhello\rX0\r\n\r\n" + NEXT, 400)
case("line feed at the end of the chunks", "7.1", "lines end with CRLF", CHUNKED + b"0\r\n\n" + NEXT, 400)
case("carriage return behind a size", "2.2", "lines end with CRLF", CHUNKED + b"5\rhello\r\n0\r\n\r\n", 400)
case("chunks without end", "8", "an incomplete request is no request", CHUNKED + b"5\r\nhello\r\n")
case("chunks without the last line", "8", "an incomplete request is no request", CHUNKED + b"5\r\nhello\r\n0\r\n")
rows("extension", "7.1.1", "unknown ones must be ignored", [b";a", b";a=b", b";a=\"b c\"", b"; a=b", b" ;a", b"\t; a = b", b";a;b=c", b";a=\"\\\"\"", b";a=\x80"],
     lambda v: CHUNKED + b"5" + v + b"\r\nhello\r\n0\r\n\r\n" + NEXT, OK, OK)
rows("extension", "7.1.1", "they have names, and no control characters", [b";", b"; ", b";=b", b";a\x00", b";a\x01b", b";a\x7f", b";a\nb"],
     lambda v: CHUNKED + b"5" + v + b"\r\nhello\r\n0\r\n\r\n" + NEXT, 400)
case("extension that is too long", "7.1.1", "a recipient should limit them", CHUNKED + b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n" + NEXT, 400)
case("more extension than body", "7.1.1", "a recipient should limit their total", CHUNKED + (b"1;" + b"a" * 200 + b"\r\nx\r\n") * 500 + b"0\r\n\r\n" + NEXT, 400)
case("extension on the last chunk", "7.1.1", "unknown ones must be ignored", CHUNKED + b"0;a=b\r\n\r\n" + NEXT, OK, OK)
case("line feed in an extension", "7.1.1", "lines end with CRLF", CHUNKED + b"5;a\nhello\r\n0\r\n\r\n" + NEXT, 400)
rows("trailers", "7.1.2", "may be thrown away", [b"X: y\r\n", b"X: y\r\nZ:\r\n", b"Content-Length: 9\r\n", b"Host: b\r\n", b"X:\ty\t\r\n"], lambda v: CHUNKED + b"0\r\n" + v + b"\r\n" + NEXT, OK, OK)
rows("trailers", "7.1.2", "they have the form of fields", [b"X\r\n", b": y\r\n", b"X : y\r\n", b" X: y\r\n", b"X: a\x00\r\n", b"X: a\nb\r\n", b"X: a\rb\r\n", b"X: a\r\n b\r\n", b"X(: y\r\n"],
     lambda v: CHUNKED + b"0\r\n" + v + b"\r\n" + NEXT, 400)
case("trailers that are too long", "7.1.2", "too long ones are refused", CHUNKED + b"0\r\nX: " + b"y" * 5000 + b"\r\n\r\n" + NEXT, 431)

# ---- connections: 9; expectations, upgrades ----------------------------------------------------------------------------------------------
case("close", "9.6", "nothing behind it is read", GET + HOST + b"Connection: close\r\n\r\n" + NEXT, OK)
case("close among others", "9.6", "a list, case-insensitive", GET + HOST + b"Connection: keep-alive , Close\r\n\r\n" + NEXT, OK)
case("close in the second line", "9.6", "a list may be in several lines", GET + HOST + b"Connection: x\r\nConnection: close\r\n\r\n" + NEXT, OK)
case("closed", "9.6", "another option is none", GET + HOST + b"Connection: closed\r\n\r\n" + NEXT, OK, OK)
case("HTTP/1.0 ends", "9.3", "without persistence nothing behind it is read", b"GET /x HTTP/1.0\r\n" + HOST + END + NEXT, OK)
case("refusals end", "9.6", "behind a refusal nothing is read", GET + END + NEXT, 400)
case("expectation", "9110 10.1.1", "100 (Continue) need not be sent when the body is there", POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello" + NEXT, OK, OK)
case("expectation in any case", "9110 10.1.1", "it is case-insensitive", POST + b"Expect: 100-Continue\r\nContent-Length: 5\r\n\r\nhello", OK)
case("expectation without a body", "9110 10.1.1", "no body, no 100", POST + b"Expect: 100-continue\r\n\r\n", OK)
case("unknown expectation", "9110 10.1.1", "417", POST + b"Expect: 200-ok\r\nContent-Length: 5\r\n\r\nhello" + NEXT, 417)
case("expectation in HTTP/1.0", "9110 10.1.1", "must be ignored", b"POST /x HTTP/1.0\r\nExpect: 200-ok\r\nContent-Length: 5\r\n\r\nhello", OK)
case("unknown upgrade", "9110 7.8", "may be ignored", GET + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + NEXT, OK, OK)
WS = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
VERSION = b"Sec-WebSocket-Version: 13\r\n"
TO_WS = b"GET /v1/ws HTTP/1.1\r\n" + HOST
case("WebSocket", "9110 7.8", "101", TO_WS + WS + VERSION + END, 101)
case("WebSocket version 8", "9110 7.8", "426 with the version that is spoken", TO_WS + WS + b"Sec-WebSocket-Version: 8\r\n\r\n", 426)
case("WebSocket without version", "9110 7.8", "426", TO_WS + WS + END, 426)
case("WebSocket key of 3 bytes", "9110 7.8", "400", TO_WS + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: YWJj\r\n" + VERSION + END, 400)
case("WebSocket without key", "9110 7.8", "400", TO_WS + b"Upgrade: websocket\r\nConnection: Upgrade\r\n" + VERSION + END, 400)
case("WebSocket without Connection", "9110 7.8", "Upgrade must be listed there", TO_WS + WS.replace(b"Connection: Upgrade\r\n", b"") + VERSION + END, 426)
case("WebSocket by POST", "9110 7.8", "405", TO_WS.replace(b"GET", b"POST") + WS + VERSION + END, 405)
case("WebSocket over HTTP/1.0", "9110 7.8", "must be ignored", TO_WS.replace(b"1.1", b"1.0") + WS + VERSION + END, 426)
case("WebSocket with a body", "9110 7.8", "400", TO_WS + WS + VERSION + b"Content-Length: 3\r\n\r\nabc", 400)
