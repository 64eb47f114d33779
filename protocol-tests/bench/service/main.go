// An HTTP service with one handler; it says where it listens, and on /handled how many requests the handler has had.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
)

type Answer struct {
	Name  string `json:"name"`
	Total int    `json:"total"`
}

var handled atomic.Int64

//go:noinline
func lookUp(path string, size int) (*Answer, error) {
	handled.Add(1)
	name := strings.TrimPrefix(path, "/orders/")
	return &Answer{Name: name, Total: size + len(name)}, nil
}

func main() {
	http.HandleFunc("/orders/", func(w http.ResponseWriter, r *http.Request) {
		answer, err := lookUp(r.URL.Path, len(r.UserAgent()))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		json.NewEncoder(w).Encode(answer)
	})
	http.HandleFunc("/handled", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, handled.Load()) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("listening", listener.Addr())
	http.Serve(listener, nil)
}
