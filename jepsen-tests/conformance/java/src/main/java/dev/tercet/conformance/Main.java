package dev.tercet.conformance;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import org.apache.rocketmq.client.apis.ClientConfiguration;
import org.apache.rocketmq.client.apis.ClientServiceProvider;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.Message;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;

/** The official Java client against Tercet; the line protocol stands in ../README.md of this folder's parent. */
public final class Main {
    private static final long PAUSE_MS = 200;
    private static final Duration INVISIBLE = Duration.ofSeconds(30);
    private static final Duration AWAIT = Duration.ofSeconds(5);
    private static final ClientServiceProvider PROVIDER = ClientServiceProvider.loadService();

    private Main() {}

    /** Repeats the action until it succeeds; the runner holds the deadline. */
    private static <T> T untilDone(String what, Callable<T> action) throws InterruptedException {
        while (true) {
            try {
                return action.call();
            } catch (Exception error) {
                System.err.println(what + ": " + error);
                Thread.sleep(PAUSE_MS);
            }
        }
    }

    private static void send(Producer producer, String topic, String language, int first, int count)
            throws InterruptedException {
        for (int i = first; i < first + count; i++) {
            Message message = PROVIDER.newMessageBuilder()
                    .setTopic(topic)
                    .setTag("conformance")
                    .setKeys("key-" + i)
                    .addProperty("number", String.valueOf(i))
                    .setBody((language + " " + i + " \u2713").getBytes(StandardCharsets.UTF_8))
                    .build();
            untilDone("send", () -> producer.send(message));
            System.out.println("sent " + i);
        }
    }

    private static void receive(SimpleConsumer consumer, Set<String> seen, int count) throws InterruptedException {
        int target = seen.size() + count;
        while (seen.size() < target) {
            List<MessageView> messages = untilDone("receive", () -> consumer.receive(32, INVISIBLE));
            for (MessageView message : messages) {
                untilDone("ack", () -> {
                    consumer.ack(message);
                    return true;
                });
                String body = hex(message.getBody());
                seen.add(body);
                System.out.println("got " + body);
            }
        }
    }

    private static String hex(ByteBuffer body) {
        StringBuilder text = new StringBuilder();
        while (body.hasRemaining()) {
            text.append(String.format("%02x", body.get()));
        }
        return text.toString();
    }

    public static void main(String[] words) throws Exception {
        String topic = words[1];
        ClientConfiguration configuration =
                ClientConfiguration.newBuilder().setEndpoints(words[0]).build();
        Producer producer = untilDone("start producer", () -> PROVIDER.newProducerBuilder()
                .setClientConfiguration(configuration)
                .setTopics(topic)
                .build());
        SimpleConsumer consumer = untilDone("start consumer", () -> PROVIDER.newSimpleConsumerBuilder()
                .setClientConfiguration(configuration)
                .setConsumerGroup(words[2])
                .setAwaitDuration(AWAIT)
                .setSubscriptionExpressions(Map.of(topic, FilterExpression.SUB_ALL))
                .build());
        Set<String> seen = new HashSet<>();
        System.out.println("ready");
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] verb = line.split(" ");
            if (verb[0].equals("send")) {
                send(producer, topic, words[3], Integer.parseInt(verb[1]), Integer.parseInt(verb[2]));
            } else if (verb[0].equals("receive")) {
                receive(consumer, seen, Integer.parseInt(verb[1]));
            }
            System.out.println("done");
        }
        System.exit(0);
    }
}
