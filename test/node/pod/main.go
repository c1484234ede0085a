// Command pod is what pods of test/node run: "pod" waits until it is told to end, and
// "pod ask" asks for credentials as an SDK would, from where its environment says, over
// and over, and prints how often, and each answer that was none. It does not
// judge: the test that reads what it prints does.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if len(os.Args) > 1 && os.Args[1] == "ask" {
		askAll(ctx)
	}
	<-ctx.Done()
}

// askAll asks over connections that are made for each request, and over one that is kept.
func askAll(ctx context.Context) {
	var asked, failed atomic.Int64
	var all sync.WaitGroup
	for _, kept := range []bool{false, false, false, true} {
		all.Go(func() {
			client := &http.Client{
				Timeout:   5 * time.Second,
				Transport: &http.Transport{DisableKeepAlives: !kept},
			}
			for ctx.Err() == nil {
				err := ask(ctx, client)
				if ctx.Err() != nil {
					return
				}
				if asked.Add(1); err != nil {
					fmt.Println("failed:", err)
					failed.Add(1)
				}
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	for ctx.Err() == nil {
		fmt.Println("asked", asked.Load(), "failed", failed.Load())
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	all.Wait()
}

func ask(ctx context.Context, client *http.Client) error {
	token, err := os.ReadFile(os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"))
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(
		ctx, http.MethodGet, os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI"), nil,
	)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", strings.TrimSpace(string(token)))
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d: %s", response.StatusCode, text)
	}
	return nil
}
