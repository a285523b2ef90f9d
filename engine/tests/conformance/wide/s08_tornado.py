"""tornado: its own HTTP server and client, a web socket, and a function in its executor."""

import tornado.httpserver
import tornado.testing
import tornado.web
import tornado.websocket
from tornado.httpclient import AsyncHTTPClient
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets


class Hello(tornado.web.RequestHandler):
    async def get(self, name):
        value = await IOLoop.current().run_in_executor(None, len, name)
        self.write({"name": name, "length": value})


class Echo(tornado.websocket.WebSocketHandler):
    def on_message(self, message):
        self.write_message(message[::-1])


async def main():
    application = tornado.web.Application([("/hello/(.*)", Hello), ("/echo", Echo)])
    server = tornado.httpserver.HTTPServer(application)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    port = sockets[0].getsockname()[1]
    client = AsyncHTTPClient(force_instance=True)
    answer = await client.fetch(f"http://127.0.0.1:{port}/hello/ann")
    socket = await tornado.websocket.websocket_connect(f"ws://127.0.0.1:{port}/echo")
    await socket.write_message("abc")
    heard = await socket.read_message()
    socket.close()
    client.close()
    server.stop()
    await server.close_all_connections()
    assert (answer.body, heard) == (b'{"name": "ann", "length": 3}', "cba")
    return [answer.code, answer.body.decode(), heard]
