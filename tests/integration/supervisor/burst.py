# Many threads that connect at once, half of them to a place that is refused.
import socket, threading
good, bad, lock = 0, 0, threading.Lock()
def work():
    global good, bad
    for _ in range(20):
        s = socket.socket()
        s.settimeout(30)
        s.connect(('10.9.8.7', 443))
        s.close()
        try:
            socket.create_connection(('10.9.8.7', 22), 30)
        except ConnectionRefusedError:
            with lock:
                bad += 1
        with lock:
            good += 1
threads = [threading.Thread(target=work) for _ in range(20)]
[t.start() for t in threads]
[t.join() for t in threads]
print(good, 'connected,', bad, 'refused')
